"""`chatload signoff`: the page of a campaign that a manager signs."""
