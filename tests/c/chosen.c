/* chosen: which engine ODIO_ENGINE_AUTO is here, and why. */
#include "check.h"

int main(void)
{
    odio_queue *queue;
    odio_queue_info info = {.size = sizeof info};
    CHECK(odio_queue_new(NULL, &queue) == 0);
    CHECK(odio_queue_get_info(queue, &info) == 0);
    printf("%u %s\n", info.engine, odio_queue_reason(queue));
    CHECK(odio_queue_free(queue) == 0);
    return 0;
}
