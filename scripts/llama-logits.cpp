// Runs a GGUF model in llama.cpp on given tokens and writes what it computes as raw f32.
//
//     llama-logits MODEL.gguf OUT.bin ID ID …                 logits of every position
//     llama-logits MODEL.gguf OUT.bin ID … / ID …             encoder tokens, then decoder tokens
//     llama-logits --embed MODEL.gguf OUT.bin ID …            the embedding of every token
//
// The cache is f32 and flash attention is off, so that differences are the model's. Built by
// scripts/compare-llama.py against a build of llama.cpp.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "llama.h"

static void fail(const char *what) {
    fprintf(stderr, "llama-logits: %s\n", what);
    exit(1);
}

static llama_batch batch_of(const std::vector<llama_token> &tokens) {
    llama_batch batch = llama_batch_init((int) tokens.size(), 0, 1);
    batch.n_tokens = (int) tokens.size();
    for (int i = 0; i < batch.n_tokens; i++) {
        batch.token[i] = tokens[i];
        batch.pos[i] = i;
        batch.n_seq_id[i] = 1;
        batch.seq_id[i][0] = 0;
        batch.logits[i] = 1;
    }
    return batch;
}

int main(int argc, char **argv) {
    int at = 1;
    const bool embed = argc > at && strcmp(argv[at], "--embed") == 0;
    if (embed) at++;
    if (argc < at + 3) fail("usage: llama-logits [--embed] MODEL OUT ID …");
    const char *path = argv[at++], *out = argv[at++];
    std::vector<llama_token> first, second;
    bool after = false;
    for (; at < argc; at++) {
        if (strcmp(argv[at], "/") == 0) after = true;
        else (after ? second : first).push_back(atoi(argv[at]));
    }
    llama_log_set([](ggml_log_level level, const char *text, void *) {
        if (level == GGML_LOG_LEVEL_ERROR) fputs(text, stderr);
    }, nullptr);
    llama_backend_init();
    llama_model_params model_params = llama_model_default_params();
    llama_model *model = llama_model_load_from_file(path, model_params);
    if (!model) fail("the model does not load");
    llama_context_params params = llama_context_default_params();
    params.n_ctx = 256;
    params.n_batch = 256;
    params.n_ubatch = 256;
    params.n_threads = 1;
    params.n_threads_batch = 1;
    params.type_k = GGML_TYPE_F32;
    params.type_v = GGML_TYPE_F32;
    params.flash_attn_type = LLAMA_FLASH_ATTN_TYPE_DISABLED;
    params.embeddings = embed;
    if (embed) params.pooling_type = LLAMA_POOLING_TYPE_NONE;
    llama_context *context = llama_init_from_model(model, params);
    if (!context) fail("no context");
    llama_batch batch = batch_of(first);
    size_t width = embed ? llama_model_n_embd(model) : llama_vocab_n_tokens(llama_model_get_vocab(model));
    if (llama_model_has_encoder(model) && llama_model_has_decoder(model)) {
        if (llama_encode(context, batch) != 0) fail("encoding fails");
        batch = batch_of(second);
    }
    const bool encodes = llama_model_has_encoder(model) && !llama_model_has_decoder(model);
    if ((encodes ? llama_encode(context, batch) : llama_decode(context, batch)) != 0) fail("decoding fails");
    FILE *file = fopen(out, "wb");
    if (!file) fail("the output cannot be written");
    for (int i = 0; i < batch.n_tokens; i++) {
        const float *row = embed ? llama_get_embeddings_ith(context, i) : llama_get_logits_ith(context, i);
        if (!row) fail("a row is missing");
        fwrite(row, sizeof(float), width, file);
    }
    fclose(file);
    return 0;
}
