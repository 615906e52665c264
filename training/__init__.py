"""What only training needs: never imported by the files that travel with a checkpoint."""
