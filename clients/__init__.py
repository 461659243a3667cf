"""Who trains: the ClientApp, and what honest and malicious clients do."""
