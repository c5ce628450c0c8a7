"""What only the command lc2fer does: completion for shells, and what is installed here."""
