"""A disc by an SMB share and the board's own web pages, for BMCs without Redfish slots; unproven on hardware."""
