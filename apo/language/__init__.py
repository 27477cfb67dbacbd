"""Language models: tokenizer, pretraining, supervised fine-tuning."""
