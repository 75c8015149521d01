"""What a shop's own tests need: a simulator to pay against."""
