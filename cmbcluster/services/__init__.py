"""Every rule a user can meet. Each public function takes an Actor first and checks it."""
