"""What every task shares: the contract, job files, runs, journals and reports."""
