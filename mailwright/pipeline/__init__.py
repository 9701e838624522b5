"""What the pipelines of a fleet's repository do, on whatever system runs them."""
