"""What a stage that was killed finds again."""
