"""The pages people see. States parse, ask a service and keep words to show; nothing is decided here."""
