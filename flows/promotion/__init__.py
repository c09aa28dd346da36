"""Champion against challenger: scored, decided, moved and written down. Knows no Prefect."""
