"""Clerk: who the platform's customers are, and who of them may do what. It declares no streams."""
