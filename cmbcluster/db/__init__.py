"""Tables, transactions and queries: the only place that speaks SQL, and that commits."""
