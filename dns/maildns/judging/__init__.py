"""What answers mean: verdicts and lints. Nothing here asks."""
