"""Wrong labels whose truth is known: noise models, and a report of what each one did."""
