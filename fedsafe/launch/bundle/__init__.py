"""What is sent to every machine of a deployment: a Flower app that holds no code of ours."""
