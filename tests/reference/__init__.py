"""The configurations of the reference's README, as it prints them."""
