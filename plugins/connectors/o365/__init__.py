"""Microsoft 365: who wrote to whom and who met when, through Microsoft Graph. Never a body, never a subject."""
