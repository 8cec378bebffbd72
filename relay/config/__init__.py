"""What the relay can be told: keys and addresses, and the file, the environment and the flags that give them."""
