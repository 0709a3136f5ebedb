"""Delivr.ai: who researches what, at which companies, and who somebody is. Each record that it gives costs money."""
