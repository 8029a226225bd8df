"""What a person needs to judge a version: gathered from the registry, then page, text and card."""
