"""What a check-up looks like: sentences, the page, the terminal."""
