"""The scoring engine: pure arithmetic and its reasons. Frames in, frames out; the day is an argument."""
