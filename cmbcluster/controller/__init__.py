"""Makes what runs match what was asked. Any two controllers at once do no harm."""
