/* break_clblast.c - CLBlast's products that fail. What CLBlast itself calls is not ours to break.
 */
#include "break.h"

#define CL_TARGET_OPENCL_VERSION 120
#include <clblast_c.h>

static CLBlastStatusCode broken(enum break_kind kind, CLBlastStatusCode error)
{
    int is_lost = break_now(BREAK_lost), is_now = break_now(kind);
    return is_lost || is_now ? error : CLBlastSuccess;
}

BREAK_WRAP(CLBlastStatusCode, CLBlastSgemm,
           (CLBlastLayout layout, CLBlastTranspose a_transpose, CLBlastTranspose b_transpose,
            size_t m, size_t n, size_t k, float alpha, cl_mem a, size_t a_at, size_t a_line,
            cl_mem b, size_t b_at, size_t b_line, float beta, cl_mem c, size_t c_at, size_t c_line,
            cl_command_queue *queue, cl_event *event))
{
    CLBlastStatusCode error = broken(BREAK_enqueue, CLBlastOpenCLOutOfResources);
    return error
               ? error
               : __real_CLBlastSgemm(layout, a_transpose, b_transpose, m, n, k, alpha, a, a_at,
                                     a_line, b, b_at, b_line, beta, c, c_at, c_line, queue, event);
}

BREAK_WRAP(CLBlastStatusCode, CLBlastSgemmStridedBatched,
           (CLBlastLayout layout, CLBlastTranspose a_transpose, CLBlastTranspose b_transpose,
            size_t m, size_t n, size_t k, float alpha, cl_mem a, size_t a_at, size_t a_line,
            size_t a_next, cl_mem b, size_t b_at, size_t b_line, size_t b_next, float beta,
            cl_mem c, size_t c_at, size_t c_line, size_t c_next, size_t batch,
            cl_command_queue *queue, cl_event *event))
{
    CLBlastStatusCode error = broken(BREAK_enqueue, CLBlastOpenCLOutOfResources);
    return error ? error
                 : __real_CLBlastSgemmStridedBatched(
                       layout, a_transpose, b_transpose, m, n, k, alpha, a, a_at, a_line, a_next, b,
                       b_at, b_line, b_next, beta, c, c_at, c_line, c_next, batch, queue, event);
}

BREAK_WRAP(CLBlastStatusCode, CLBlastOverrideParameters,
           (cl_device_id id, const char *kernel, CLBlastPrecision precision, size_t count,
            const char **name, const size_t *value))
{
    CLBlastStatusCode error = broken(BREAK_query, CLBlastOpenCLOutOfHostMemory);
    return error ? error
                 : __real_CLBlastOverrideParameters(id, kernel, precision, count, name, value);
}
