"""llama.cpp itself, asked directly, so that what it makes of a file does not depend on our engine."""

import contextlib
import http.client
import json

import numpy as np
import xllamacpp

KEY = "only-for-this-test"


class LlamaCpp:
    """A loaded file: its ids of texts and its next-token log-probabilities."""

    def __init__(self, file, *, lora=None, context_tokens=256):
        parameters = xllamacpp.CommonParams()
        parameters.model.path = str(file)
        parameters.n_ctx = context_tokens
        parameters.n_parallel = 1
        parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = 2
        parameters.cache_ram_mib = 0
        parameters.cache_type_k = parameters.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
        parameters.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
        parameters.verbosity = -1
        parameters.hostnames = ["127.0.0.1"]
        parameters.port = 0
        parameters.n_threads_http = 2
        parameters.api_keys = [KEY]
        parameters.ui = False
        parameters.endpoint_metrics = True
        if lora:
            parameters.lora_adapters = [xllamacpp.CommonAdapterLoraInfo(str(lora), 1.0)]
        self._server = xllamacpp.Server(parameters)
        self._server.handle_metrics()  # waits for its loop, without which it cannot be freed

    def encode(self, text, *, add_special=False):
        body = {"content": text, "add_special": add_special, "parse_special": True}
        return self._post("/tokenize", body)["tokens"]

    def decode(self, ids):
        return self._post("/detokenize", {"tokens": ids})["content"]

    def logprobs(self, ids, *, num_tokens):
        """Return the log-probability of every token behind `ids`."""
        forced = [[num_tokens // 2, 1e6]]  # nothing is told of a token that ends the reply
        answer = self._complete(ids, max_tokens=1, n_probs=num_tokens, logit_bias=forced)
        drawn = answer["choices"][0]["logprobs"]["content"][0]["top_logprobs"]
        found = np.full(num_tokens, np.nan)
        for one in drawn:
            found[one["id"]] = one["logprob"]
        assert not np.isnan(found).any()
        return found

    def reply(self, ids, *, num_tokens):
        return self._complete(ids, max_tokens=num_tokens)["choices"][0]["text"]

    def greedy_ids(self, ids, *, num_tokens):
        """Return the ids of the likeliest reply, word pieces that are no whole letter included."""
        body = {"prompt": list(ids), "n_predict": num_tokens, "temperature": 0.0, "return_tokens": True}
        return self._post("/completion", {**body, "cache_prompt": False})["tokens"]

    def count_prompt(self, messages):
        """Return how many tokens llama.cpp makes of a conversation by the file's own chat template."""
        answer = self._server.handle_chat_completions({"messages": messages, "max_tokens": 1})
        return answer["usage"]["prompt_tokens"]

    def close(self):
        self._server = None

    def _complete(self, ids, **settings):
        request = {"prompt": list(ids), "temperature": 0.0, "cache_prompt": False, **settings}
        answer = self._server.handle_completions(request)
        assert "error" not in answer, answer
        return answer

    def _post(self, path, body):
        connection = http.client.HTTPConnection(self._server.listening_address.removeprefix("http://"), timeout=60)
        connection.request("POST", path, json.dumps(body), {"Authorization": f"Bearer {KEY}"})
        answer = json.loads(connection.getresponse().read())
        connection.close()
        return answer


@contextlib.contextmanager
def opened(file, **settings):
    model = LlamaCpp(file, **settings)
    try:
        yield model
    finally:
        model.close()
