"""Models in Hugging Face form written as GGUF files, and PEFT's LoRA as llama.cpp's."""
