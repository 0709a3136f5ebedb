"""Salesforce: sales, marketing and activity records of an org, with what is deleted, merged and converted."""
