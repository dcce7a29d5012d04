/* SPDX-License-Identifier: Apache-2.0 */
/* Completion for bash and zsh: a table of what each command takes and a function that finds what
 * may stand at the cursor, in what both shells understand; and for each how it is told. */
#include "cli/manual/completion.h"

#include <string.h>

/* The table ---------------------------------------------------------------------------------- */

/* What may stand for a word: "file", "dir", "free", "words A B", "names ARGUMENT...". */
static void
put_spec(FILE *out, const struct word *word)
{
    static const char *const kinds[] = {
        [WORD_FREE] = "free",    [WORD_FILE] = "file",  [WORD_DIRECTORY] = "dir",
        [WORD_CHOICE] = "words", [WORD_NAME] = "names",
    };
    fputs(kinds[word->kind], out);
    if (word->kind == WORD_NAME) {
        fprintf(out, " %s", word->lister);
    }
    for (size_t i = 0; word->kind == WORD_CHOICE && word_choice(word->text, i).size > 0; i++) {
        fprintf(out, " %.*s", BYTES_FORMAT(word_choice(word->text, i)));
    }
}

static void
put_option_names(FILE *out, const struct command *command)
{
    const struct command_option *option;
    for (size_t i = 0; (option = command_option_at(command, i)) != NULL; i++) {
        char letter = command_letter(option);
        fprintf(out, "%s--%s", i == 0 ? "" : " ", option->name);
        if (letter != '\0') {
            fprintf(out, " -%c", letter);
        }
    }
}

/* A line for each spelling of each option that has a value. */
static void
put_option_values(FILE *out, const struct command *command)
{
    const struct command_option *option;
    struct word word;
    for (size_t i = 0; (option = command_option_at(command, i)) != NULL; i++) {
        char letter = command_letter(option);
        if (option->argument == NULL || !word_at(option->argument, 0, &word)) {
            continue;
        }
        fprintf(out, "--%s ", option->name);
        put_spec(out, &word);
        fputc('\n', out);
        if (letter != '\0') {
            fprintf(out, "-%c ", letter);
            put_spec(out, &word);
            fputc('\n', out);
        }
    }
}

static void
put_operands(FILE *out, const struct command *command)
{
    struct word word = {.is_repeated = false};
    fputs("        operands=\"", out);
    for (size_t i = 0; !word.is_repeated && word_at(command->operands, i, &word); i++) {
        fputs(i == 0 ? "" : "\n", out);
        put_spec(out, &word);
    }
    fprintf(out, "\"\n        repeats=\"%s\" ;;\n", word.is_repeated ? "yes" : "");
}

static void
put_table(FILE *out)
{
    fputs("# What the command called $1 takes: options, values of options, operands.\n"
          "_bourse_table() {\n    case \"$1\" in\n",
          out);
    for (size_t i = 0; i < command_count(); i++) {
        fprintf(out, "    (\"%s\")\n        options=\"", command_at(i)->name);
        put_option_names(out, command_at(i));
        fputs("\"\n        values=\"", out);
        put_option_values(out, command_at(i));
        fputs("\"\n", out);
        put_operands(out, command_at(i));
    }
    fputs("    esac\n}\n\n", out);
}

static void
put_second_words(FILE *out, struct bytes first)
{
    for (size_t i = 0; i < command_count(); i++) {
        const char *name = command_at(i)->name;
        if (bytes_equal(completion_first_word(command_at(i)), first) && name[first.size] == ' ') {
            fprintf(out, "%s", name + first.size);
        }
    }
}

static void
put_names(FILE *out)
{
    fputs("# The words that may follow $1, or begin a command.\n"
          "_bourse_commands() {\n    case \"$1\" in\n    (\"\") reply=\"words",
          out);
    for (size_t i = 0; i < command_count(); i++) {
        if (completion_is_first_of_word(i)) {
            fprintf(out, " %.*s", BYTES_FORMAT(completion_first_word(command_at(i))));
        }
    }
    fputs("\" ;;\n", out);
    for (size_t i = 0; i < command_count(); i++) {
        struct bytes first = completion_first_word(command_at(i));
        if (completion_is_first_of_word(i) && command_at(i)->name[first.size] == ' ') {
            fprintf(out, "    (\"%.*s\") reply=\"words", BYTES_FORMAT(first));
            put_second_words(out, first);
            fputs("\" ;;\n", out);
        }
    }
    fputs("    esac\n}\n\n", out);
}

/* The finder --------------------------------------------------------------------------------- */

static const char finder[] =
    "# What follows the option $1, if anything.\n"
    "_bourse_value() {\n"
    "    local line\n"
    "    reply=\"\"\n"
    "    while IFS= read -r line; do\n"
    "        case \"$line\" in (\"$1 \"*) reply=\"${line#\"$1 \"}\"; return ;; esac\n"
    "    done <<< \"$values\"\n"
    "}\n\n"
    "# What operand number $1 is, from 0.\n"
    "_bourse_operand() {\n"
    "    local line number=0\n"
    "    while IFS= read -r line; do\n"
    "        reply=\"$line\"\n"
    "        if [ \"$number\" -ge \"$1\" ]; then return; fi\n"
    "        number=$((number + 1))\n"
    "    done <<< \"$operands\"\n"
    "    if [ -z \"$repeats\" ]; then reply=\"free\"; fi\n"
    "}\n\n"
    "# Sets reply to what may stand in the place of the last of the words behind \"bourse\".\n"
    "_bourse_find() {\n"
    "    local name=\"$1\" options=\"\" values=\"\" operands=\"\" repeats=\"\" same=\"\" at=0\n"
    "    if [ $# -le 1 ]; then _bourse_commands \"\"; return; fi\n"
    "    shift\n"
    "    case \"$_bourse_groups \" in (*\" $name \"*)\n"
    "        if [ $# -le 1 ]; then _bourse_commands \"$name\"; return; fi\n"
    "        name=\"$name $1\"\n"
    "        shift ;;\n"
    "    esac\n"
    "    _bourse_table \"$name\"\n"
    "    while [ $# -gt 1 ]; do\n"
    "        case \"$1\" in\n"
    "        (-*)\n"
    "            _bourse_value \"$1\"\n"
    "            if [ -n \"$reply\" ]; then\n"
    "                if [ $# -eq 2 ]; then break; fi\n"
    "                case \"$1\" in (--context | --vhost | -p)\n"
    "                    same=\"$same $1 $(printf %q \"$2\")\" ;;\n"
    "                esac\n"
    "                shift\n"
    "            fi ;;\n"
    "        (*) at=$((at + 1)) ;;\n"
    "        esac\n"
    "        shift\n"
    "    done\n"
    "    if [ $# -eq 1 ]; then\n"
    "        case \"$1\" in\n"
    "        (-*) reply=\"words $options\" ;;\n"
    "        (*) _bourse_operand \"$at\" ;;\n"
    "        esac\n"
    "    fi\n"
    "    # Names are looked up where the command will look, and as the same user.\n"
    "    case \"$reply\" in (\"names ls \"*) reply=\"$reply --timeout 2$same\" ;; esac\n"
    "}\n\n";

/* What a broker calls its things is never expanded by the shell: it is read line by line. */
static const char bash_tail[] =
    "_bourse() {\n"
    "    local reply=\"\" line program=\"${COMP_WORDS[0]}\" cur=\"${COMP_WORDS[COMP_CWORD]}\"\n"
    "    COMPREPLY=()\n"
    "    _bourse_find \"${COMP_WORDS[@]:1:COMP_CWORD}\"\n"
    "    case \"$reply\" in\n"
    "    (file) compopt -o filenames; mapfile -t COMPREPLY < <(compgen -f -- \"$cur\") ;;\n"
    "    (dir) compopt -o filenames; mapfile -t COMPREPLY < <(compgen -d -- \"$cur\") ;;\n"
    "    (\"words \"*) mapfile -t COMPREPLY < <(compgen -W \"${reply#words }\" -- \"$cur\") ;;\n"
    "    (\"names \"*)\n"
    "        while IFS= read -r line; do\n"
    "            case \"$line\" in (\"$cur\"*) COMPREPLY+=(\"$(printf %q \"$line\")\") ;; esac\n"
    "        done < <(eval \"\\\"\\$program\\\" ${reply#names }\" 2> /dev/null) ;;\n"
    "    esac\n"
    "}\n"
    "complete -F _bourse bourse\n";

static const char zsh_tail[] =
    "_bourse() {\n"
    "    local reply=\"\" program=\"${words[1]}\"\n"
    "    local -a found\n"
    "    _bourse_find \"${(@)words[2,CURRENT]}\"\n"
    "    case \"$reply\" in\n"
    "    (file) _files ;;\n"
    "    (dir) _files -/ ;;\n"
    "    (\"words \"*) found=(${=reply#words }); compadd -a found ;;\n"
    "    (\"names \"*)\n"
    "        found=(\"${(@f)$(eval \"\\\"\\$program\\\" ${reply#names }\" 2> /dev/null)}\")\n"
    "        compadd -a found ;;\n"
    "    esac\n"
    "}\n"
    "if [ \"$funcstack[1]\" = _bourse ]; then _bourse; else compdef _bourse bourse; fi\n";

static void
put_script(FILE *out, const char *tail)
{
    put_table(out);
    put_names(out);
    fputs("_bourse_groups=\"", out);
    completion_print_groups(out);
    fputs("\"\n\n", out);
    fputs(finder, out);
    fputs(tail, out);
}

void
completion_print_bash(FILE *out)
{
    fputs("# bash completion for bourse, made by \"bourse completion bash\".\n\n", out);
    put_script(out, bash_tail);
}

void
completion_print_zsh(FILE *out)
{
    fputs("#compdef bourse\n# zsh completion, made by \"bourse completion zsh\".\n\n", out);
    put_script(out, zsh_tail);
}
