"""The way by SMB share, against a board of the X9 age."""
