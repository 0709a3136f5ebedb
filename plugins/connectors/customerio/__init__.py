"""Customer.io's App API: people, the messages they were sent, and what they did with them."""
