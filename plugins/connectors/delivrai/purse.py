"""What a run may still buy. Shared by all its streams, so that together they keep to the tenant's budget."""


class Purse:
    """Counted in the vendor's records. An answer that was lost on the way may have been billed and is not counted."""

    def __init__(self, records: int) -> None:
        self.records = records
        self.left = records

    def reserve(self, most: int) -> int:
        """How many records the next call may ask for: `most`, or what is left; none if nothing is."""
        reserved = min(most, self.left)
        self.left -= reserved
        return reserved

    def settle(self, reserved: int, bought: int) -> None:
        """What the call has cost of that."""
        self.left += max(0, reserved - bought)
