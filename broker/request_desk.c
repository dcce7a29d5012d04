/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/request_desk.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/alloc.h"

struct request_desk {
    pthread_mutex_t mutex; /* guards the lists and is_closed */
    struct list posted;    /* of request.link, on their way to the core */
    struct list answered;  /* and back */
    bool is_closed;
    int post_fd;
    int answer_fd;
};

struct request_desk *
request_desk_new(void)
{
    struct request_desk *desk = xalloc(sizeof(*desk));
    pthread_mutex_init(&desk->mutex, NULL);
    list_init(&desk->posted);
    list_init(&desk->answered);
    desk->post_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    desk->answer_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (desk->post_fd < 0 || desk->answer_fd < 0) {
        int error = errno;
        request_desk_free(&desk);
        errno = error;
    }
    return desk;
}

static void
close_if_open(int fd)
{
    if (fd >= 0) {
        close(fd);
    }
}

void
request_desk_free(struct request_desk **desk_pointer)
{
    struct request_desk *desk = *desk_pointer;
    if (desk == NULL) {
        return;
    }
    assert(list_is_empty(&desk->posted));
    assert(list_is_empty(&desk->answered));
    close_if_open(desk->post_fd);
    close_if_open(desk->answer_fd);
    pthread_mutex_destroy(&desk->mutex);
    free(desk);
    *desk_pointer = NULL;
}

static void
answer(struct request_desk *desk, struct request *request)
{
    pthread_mutex_lock(&desk->mutex);
    list_append(&desk->answered, &request->link);
    pthread_mutex_unlock(&desk->mutex);
    (void)eventfd_write(desk->answer_fd, 1);
}

/* On the core's thread. */
static void
on_ended(struct request *request)
{
    answer(request->context, request);
}

void
request_desk_post(struct request_desk *desk, struct desk_request *post)
{
    struct request *request = &post->request;
    request->ended = on_ended;
    request->context = desk;
    pthread_mutex_lock(&desk->mutex);
    bool is_closed = desk->is_closed;
    if (!is_closed) {
        list_append(&desk->posted, &request->link);
    }
    pthread_mutex_unlock(&desk->mutex);
    if (is_closed) {
        request->status = STATUS_REJECTED;
        answer(desk, request);
    } else {
        (void)eventfd_write(desk->post_fd, 1);
    }
}

void
request_desk_cancel(struct request_desk *desk, struct desk_request *post)
{
    atomic_store(&post->request.is_cancelled, true);
    (void)eventfd_write(desk->post_fd, 1);
}

int
request_desk_answer_fd(const struct request_desk *desk)
{
    return desk->answer_fd;
}

int
request_desk_post_fd(const struct request_desk *desk)
{
    return desk->post_fd;
}

static struct request *
take_from(struct request_desk *desk, struct list *list)
{
    pthread_mutex_lock(&desk->mutex);
    struct list_link *link = list_pop(list);
    pthread_mutex_unlock(&desk->mutex);
    return link == NULL ? NULL : CONTAINER_OF(link, struct request, link);
}

void
request_desk_collect(struct request_desk *desk)
{
    eventfd_t count;
    (void)eventfd_read(desk->answer_fd, &count);
    struct request *request;
    while ((request = take_from(desk, &desk->answered)) != NULL) {
        struct desk_request *post = CONTAINER_OF(request, struct desk_request, request);
        post->answered(post);
    }
}

void
request_desk_take(struct request_desk *desk, struct core *core)
{
    eventfd_t count;
    (void)eventfd_read(desk->post_fd, &count);
    struct request *request;
    while ((request = take_from(desk, &desk->posted)) != NULL) {
        core_ask(core, request);
    }
}

void
request_desk_close(struct request_desk *desk)
{
    pthread_mutex_lock(&desk->mutex);
    desk->is_closed = true;
    pthread_mutex_unlock(&desk->mutex);
    struct request *request;
    while ((request = take_from(desk, &desk->posted)) != NULL) {
        request->status = STATUS_REJECTED;
        answer(desk, request);
    }
}
