"""What people and programs see: pages drawn on the server, a JSON API, and who may use them."""
