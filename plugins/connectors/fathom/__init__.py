"""Fathom's external API: recorded meetings, who was invited and came, and with consent what was said."""
