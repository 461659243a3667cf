"""Messages between the server and its clients: who is there, what is sent, what comes back."""
