"""The messages between pycrond and the runner. Imported by the runner: it stays small."""
