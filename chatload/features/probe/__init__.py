"""`chatload probe`: what a server does, measured with a few chats."""
