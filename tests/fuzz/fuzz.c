// A libFuzzer target over run.c: a GGUF file, then a text for its tokenizer.
//
// The input is the file; its last 64 bytes double as text. Whatever the loader accepts is used as
// the program would use it: every row of every matrix is read and packed, text is encoded and
// decoded. Only threads and the forward pass, which see nothing but checked sizes, are left out.
#define CABIN_LIBRARY
#include "../../src/cabinos/engine/run.c"

static void use_matrix(const Model *m, const Matrix *w) {
    if (!w->tensor || w->pitch > 1 << 20 || w->rows > 4096) return;
    size_t row_bytes = (size_t)w->columns / (size_t)formats[w->format].columns *
                       (size_t)formats[w->format].bytes;
    const uint8_t *rows = m->gguf.bytes + m->gguf.data + w->tensor->offset;
    uint8_t *strip = calloc(1, strip_bytes(w->format, w->columns));
    float *values = malloc(sizeof(float) * (size_t)w->columns);
    for (int r = 0; r < w->rows && r < 64; r++) {
        pack_row(w->format, rows + row_bytes * (size_t)r, w->columns, r % ROWS, strip);
        read_row(w->format, rows + row_bytes * (size_t)(w->rows - 1 - r), w->columns, values);
    }
    free(strip), free(values);
}

static void use_tokenizer(const Gguf *g, const uint8_t *data, size_t size) {
    Tokenizer t = {0};
    if (tokenizer_open(&t, g)) {
        size_t n = MIN(size, 64);
        char *text = malloc(n + 1), piece[64];  // exactly as long as it says, for ASan to watch
        int *ids = malloc(sizeof(int) * (4 * n + 8));
        memcpy(text, data + size - n, n);
        for (int special = 0; special < 2; special++) {
            int count = tokenizer_encode(&t, text, n, special, ids);
            if (count > (int)(4 * n + 8)) abort();
            for (int i = 0; i < count; i++) tokenizer_decode(&t, ids[i], piece, (int)sizeof piece);
        }
        free(text), free(ids);
    }
    tokenizer_close(&t);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    Model *m = calloc(1, sizeof *m);
    uint8_t *copy = malloc(size);  // its end is guarded
    memcpy(copy, data, size);
    m->gguf = (Gguf){.bytes = copy, .size = size};
    if (gguf_parse(&m->gguf)) {
        use_tokenizer(&m->gguf, data, size);
        if (configure(m) && m->layers_n < 64 && bind_tensors(m)) {
            for (int i = 0; i < m->layers_n; i++) {
                Layer *l = &m->layers[i];
                Matrix *all[] = {&l->q, &l->k, &l->v, &l->o, &l->gate, &l->up, &l->down};
                for (int j = 0; j < 7; j++) use_matrix(m, all[j]);
            }
            use_matrix(m, &m->head);
        }
    }
    m->gguf.bytes = NULL;  // not mapped
    cabin_close(m);
    free(copy);
    return 0;
}
