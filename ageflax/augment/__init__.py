"""What happens to pixels on the device, inside the jitted step."""
