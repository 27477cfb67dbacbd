"""The parts that every stage uses: configuration, records, errors, locks and processes."""
