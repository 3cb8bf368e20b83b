"""The capacity search: the highest load that holds."""
