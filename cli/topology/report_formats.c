/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/topology/report_formats.h"

#include <string.h>

#include "management/json/json_writer.h"

#ifndef BOURSE_VERSION
#error "the Makefile defines BOURSE_VERSION"
#endif

static const char *
severity_name(const struct config_diagnostic *item)
{
    return item->severity == CONFIG_ERROR ? "error" : "warning";
}

static void
print(struct json_writer *json, const struct command_io *io)
{
    struct bytes text = buffer_bytes(&json->out);
    fwrite(text.data, 1, text.size, io->out);
    fputc('\n', io->out);
    json_fini(json);
}

void
report_print_json(const struct config *config, const struct command_io *io)
{
    const struct config_report *report = &config->report;
    struct json_writer json;
    json_init(&json);
    json_begin_object(&json);
    json_put_unsigned(&json, "errors", report->error_count);
    json_put_unsigned(&json, "warnings", report->count + report->left_out - report->error_count);
    json_put_unsigned(&json, "left_out", report->left_out);
    json_key(&json, "items");
    json_begin_array(&json);
    for (size_t i = 0; i < report->count; i++) {
        const struct config_diagnostic *item = &report->items[i];
        json_begin_object(&json);
        json_put_string(&json, "severity", severity_name(item));
        json_put_string(&json, "file", item->mark.file);
        json_put_unsigned(&json, "line", item->mark.line);
        json_put_unsigned(&json, "column", item->mark.column);
        json_put_string(&json, "text", item->text);
        json_end_object(&json);
    }
    json_end_array(&json);
    json_end_object(&json);
    print(&json, io);
}

/* One member that is an object, to be ended. */
static void
begin_member(struct json_writer *json, const char *name)
{
    json_key(json, name);
    json_begin_object(json);
}

/* A path as a reference (RFC 3986): relative to where the command runs, or of this machine. */
static void
put_uri(struct json_writer *json, const char *path)
{
    struct buffer uri;
    buffer_init(&uri);
    buffer_printf(&uri, "%s", path[0] == '/' ? "file://" : "");
    for (const char *at = path; *at != '\0'; at++) {
        bool is_plain = (*at >= 'a' && *at <= 'z') || (*at >= 'A' && *at <= 'Z') ||
                        (*at >= '0' && *at <= '9') || strchr("-._~/", *at) != NULL;
        buffer_printf(&uri, is_plain ? "%c" : "%%%02X", (unsigned)(uint8_t)*at);
    }
    json_put_text(json, "uri", buffer_bytes(&uri));
    json->out.failed |= uri.failed;
    buffer_fini(&uri);
}

/* A file that could not be read at all has no line. */
static void
put_location(struct json_writer *json, const struct config_mark *mark)
{
    json_key(json, "locations");
    json_begin_array(json);
    json_begin_object(json);
    begin_member(json, "physicalLocation");
    begin_member(json, "artifactLocation");
    put_uri(json, mark->file);
    json_end_object(json);
    if (mark->line > 0) {
        begin_member(json, "region");
        json_put_unsigned(json, "startLine", mark->line);
        json_put_unsigned(json, "startColumn", mark->column);
        json_end_object(json);
    }
    json_end_object(json);
    json_end_object(json);
    json_end_array(json);
}

static void
put_result(struct json_writer *json, const struct config_diagnostic *item)
{
    json_begin_object(json);
    json_put_string(json, "ruleId", "configuration");
    json_put_string(json, "level", severity_name(item));
    begin_member(json, "message");
    json_put_string(json, "text", item->text);
    json_end_object(json);
    put_location(json, &item->mark);
    json_end_object(json);
}

static void
put_words(struct json_writer *json, const char *name, const char *text)
{
    begin_member(json, name);
    json_put_string(json, "text", text);
    json_end_object(json);
}

/* Code hosts take no rule without its texts. */
static void
put_tool(struct json_writer *json)
{
    begin_member(json, "tool");
    begin_member(json, "driver");
    json_put_string(json, "name", "bourse check");
    json_put_string(json, "version", BOURSE_VERSION);
    json_key(json, "rules");
    json_begin_array(json);
    json_begin_object(json);
    json_put_string(json, "id", "configuration");
    put_words(json, "shortDescription", "What a broker would not take, or hardly anybody means");
    put_words(json, "fullDescription",
              "Errors keep a broker from taking the file. Warnings are what it takes and what is "
              "probably not meant.");
    put_words(
        json, "help",
        "The message says what is wrong and what to write. \"bourse explain KEY\" tells what a "
        "key takes; bourse.yaml(5) and bourse-topology(5) have all of them.");
    json_end_object(json);
    json_end_array(json);
    json_end_object(json);
    json_end_object(json);
}

void
report_print_sarif(const struct config *config, const struct command_io *io)
{
    struct json_writer json;
    json_init(&json);
    json_begin_object(&json);
    json_put_string(&json, "$schema", "https://json.schemastore.org/sarif-2.1.0.json");
    json_put_string(&json, "version", "2.1.0");
    json_key(&json, "runs");
    json_begin_array(&json);
    json_begin_object(&json);
    put_tool(&json);
    json_put_string(&json, "columnKind", "utf16CodeUnits");
    json_key(&json, "results");
    json_begin_array(&json);
    for (size_t i = 0; i < config->report.count; i++) {
        put_result(&json, &config->report.items[i]);
    }
    json_end_array(&json);
    json_end_object(&json);
    json_end_array(&json);
    json_end_object(&json);
    print(&json, io);
}
