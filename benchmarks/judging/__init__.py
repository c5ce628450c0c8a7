"""What measurements mean: figures, intervals, paired tests, validity, rules and gates. Nothing is measured here."""
