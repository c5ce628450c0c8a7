"""What a trained network gets wrong, how its features lie and where it looks, as one page."""
