"""A disc is put into a BMC's virtual drive, and taken out again."""
