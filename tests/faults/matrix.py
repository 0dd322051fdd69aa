"""Which tests hold which fault: one row for each, with the tests by file and name.

`scripts/make_faults_table.py` makes docs/explanation/faults.md of it; `test_matrix.py` sees that every test exists.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Fault:
    """What goes wrong, what is promised, and what shows it.

    Attributes:
        number: Its number.
        title: What goes wrong.
        promise: What happens instead of a loss.
        tests: `FILE::NAME` below `tests/`.
    """

    number: int
    title: str
    promise: str
    tests: tuple[str, ...]


FAULTS = (
    Fault(
        1,
        "The process is killed while it writes a checkpoint",
        "The run goes on from the newest whole checkpoint and ends bit for bit like one that was never killed.",
        (
            "engine/test_hf_killed.py::test_runs_killed_at_random_moments_end_like_one_that_never_was_bit_for_bit",
            "engine/test_hf_killed.py::test_a_save_killed_at_any_file_operation_leaves_a_whole_checkpoint",
            "engine/test_hf_killed.py::test_thirty_runs_killed_at_random_moments_end_like_one_that_never_was",
        ),
    ),
    Fault(
        2,
        "The disk is full",
        "The error names the disk; what was stored before stays, and the server goes on.",
        (
            "engine/test_hf_checkpoint.py::test_a_file_size_limit_keeps_the_last_checkpoint_whole",
            "engine/test_hf_checkpoint.py::test_a_disk_that_is_really_full_keeps_the_last_checkpoint_whole",
            "store/test_database.py::test_a_full_disk_says_what_to_do_and_keeps_the_rows_before",
            "faults/test_disk.py::test_a_disk_that_fills_up_is_named_loses_nothing_and_ends_nothing",
            "faults/test_disk.py::test_nothing_is_called_stored_that_a_full_disk_has_not_taken",
            "faults/test_disk.py::test_a_message_that_a_full_disk_has_not_taken_is_not_accepted",
            "faults/test_disk.py::test_what_an_undo_brings_back_is_a_whole_card_also_after_the_disk_was_full",
        ),
    ),
    Fault(
        3,
        "Weights are cut or have a wrong bit",
        "SHA-256 finds it; the checkpoint before is taken, with a word, or the adapter is refused.",
        (
            "engine/test_hf_checkpoint.py::test_one_wrong_bit_anywhere_makes_a_checkpoint_passed_over_with_a_word",
            "engine/test_hf_resume.py::test_a_damaged_checkpoint_is_passed_over_with_a_word_and_the_run_goes_on_from_the_one_before",
            "engine/test_hf_trust.py::test_a_cut_adapter_is_an_engine_error",
        ),
    ),
    Fault(
        4,
        "A data file is broken",
        "Every fault is told with its line; faulty rows are counted and left out, or stop the run when asked.",
        (
            "data/test_bad_files.py::test_the_corpus_is_large_and_names_each_file_once",
            "data/test_strict_json.py::test_whatever_is_accepted_python_accepts_too_and_nothing_else_escapes",
        ),
    ),
    Fault(
        5,
        "The loss is not a number",
        "The run stops before the update and names the rows of the batch.",
        (
            "engine/test_hf_recover.py::test_a_loss_that_is_not_a_number_stops_before_the_update_and_names_the_row",
            "engine/test_hf_recover.py::test_a_gradient_that_is_not_a_number_is_found_too",
            "engine/test_hf_watch.py::test_spikes_are_in_the_step_events",
        ),
    ),
    Fault(
        6,
        "Memory runs out",
        "The micro-batch is halved with the same examples per step; the run goes on.",
        (
            "engine/test_hf_recover.py::test_the_step_is_done_again_with_half_the_micro_batch_and_the_same_examples",
            "engine/test_hf_killed.py::test_a_real_memory_limit_makes_the_micro_batch_smaller_and_the_run_goes_on",
        ),
    ),
    Fault(
        7,
        "The server is told to end while replies are streaming",
        "Streams finish or end in order within the time that is set; nothing that was said is lost.",
        ("faults/test_load_end.py::test_a_signal_ends_fifty_streams_in_order_and_loses_nothing",),
    ),
    Fault(
        8,
        "A client vanishes in the middle of a reply",
        "The model stops within a token and the next in line has it.",
        ("faults/test_load_end.py::test_fifty_clients_that_vanish_free_the_model_and_the_line",),
    ),
    Fault(
        9,
        "Supermemory is down, slow, full or wrong",
        "The chat goes on without it and says so once; what was to be sent is sent later.",
        (
            "memory/test_supermemory.py::test_every_failure_is_named_and_asked_for_once",
            "memory/test_supermemory.py::test_a_search_ends_in_time_however_the_server_stalls",
            "memory/test_supermemory_chat.py::test_whatever_the_service_does_the_chat_goes_on_and_says_so_once",
            "memory/test_outbox.py::test_a_service_that_is_down_never_costs_a_session_its_place",
        ),
    ),
    Fault(
        10,
        "A database is locked, damaged or gone",
        "It is reported, put aside and restored from its backup; it is never silently made anew.",
        (
            "store/test_database.py::test_a_held_database_is_reported_as_held",
            "store/test_database.py::test_an_acknowledged_row_survives_a_kill",
            "store/test_restore.py::test_a_damaged_file_is_put_aside_and_restored_from_its_backup",
            "store/test_restore.py::test_a_restoration_killed_anywhere_is_made_good_by_the_next_start",
            "chat/test_durability.py::test_100_kills_at_random_lose_nothing_that_was_acknowledged",
        ),
    ),
    Fault(
        11,
        "The clock jumps",
        "Limits go by a clock that does not jump: nobody is locked out, nobody gets a burst.",
        (
            "guard/test_rate.py::test_a_jump_of_the_wall_clock_neither_locks_out_nor_gives_a_burst",
            "guard/test_rate.py::test_a_real_jump_of_the_machines_clock_changes_nothing",
            "faults/test_load_clock.py::test_a_client_at_its_limit_waits_as_long_as_before",
        ),
    ),
    Fault(
        12,
        "A thousand clients come at once",
        "Each is answered with tokens or a time to try again, and each in turn.",
        (
            "faults/test_load_crowd.py::test_every_client_is_answered_with_tokens_or_a_time_to_try_again",
            "faults/test_load_crowd.py::test_one_who_asks_fifty_times_at_once_leaves_room_for_those_who_ask_once",
        ),
    ),
    Fault(
        13,
        "Clients send or read slowly, or not at all",
        "They are closed after their time, and the others do not notice.",
        (
            "faults/test_load_silent.py::test_a_visitors_first_byte_takes_at_most_twice_as_long",
            "serve/test_deadlines.py::test_half_sent_headers_are_408_even_when_a_byte_comes_now_and_then",
            "serve/test_deadlines.py::test_a_client_that_never_reads_is_dropped_and_its_reply_stopped",
        ),
    ),
    Fault(
        14,
        "Headers of 70 kB, a body of a gigabyte",
        "Refused with 431 and 413 before anything of it is kept.",
        (
            "serve/test_deadlines.py::test_headers_of_seventy_kilobytes_are_431",
            "serve/test_deadlines.py::test_a_gigabyte_is_413_before_it_is_read",
            "serve/test_limits.py::test_a_body_over_one_mebibyte_is_413",
        ),
    ),
    Fault(
        15,
        "Unicode bombs and naughty strings",
        "Stored and shown exactly as they are, or refused; never a server error, in any field.",
        (
            "faults/test_texts.py::test_no_text_in_any_field_is_a_server_error",
            "faults/test_texts.py::test_no_naughty_string_in_any_field_is_a_server_error",
            "faults/test_read_back.py::test_a_text_comes_back_as_it_was_sent_or_is_refused",
            "faults/test_read_back.py::test_every_naughty_string_comes_back_as_it_was_sent_or_is_refused",
        ),
    ),
    Fault(
        16,
        "A stream of events arrives cut, mixed or unfinished",
        "Bytes are collected until a line is whole, so a character may be cut anywhere.",
        (
            "engine/test_remote.py::test_events_are_the_same_wherever_the_bytes_are_cut",
            "engine/test_remote.py::test_line_ends_may_be_mixed_within_one_stream",
            "engine/test_remote.py::test_a_last_event_without_its_blank_line_is_not_lost",
            "engine/test_remote.py::test_an_event_that_never_ends_is_refused",
            "engine/test_remote.py::test_a_stream_that_comes_byte_by_byte_gives_the_same_reply",
        ),
    ),
    Fault(
        17,
        "A name that is a path",
        "Names are looked up, never joined to a path: the answer is 400 or 404.",
        (
            "faults/test_names.py::test_no_hostile_name_in_any_path_reaches_a_file",
            "faults/test_names.py::test_no_hostile_name_of_an_upload_is_a_place",
            "faults/test_names.py::test_an_unknown_name_is_answered_alike_whether_or_not_the_thing_is_there",
        ),
    ),
    Fault(
        18,
        "A picture that is a bomb",
        "Texts and pixels are counted before anything is unpacked.",
        (
            "characters/test_files.py::test_an_oversized_text_chunk_is_refused",
            "characters/test_files.py::test_a_text_that_unpacks_to_fifty_megabytes_is_refused_without_unpacking_it",
            "characters/test_files.py::test_a_picture_with_too_many_pixels_is_refused_before_it_is_decoded",
            "faults/test_uploads.py::test_a_file_that_is_a_bomb_is_refused_and_the_server_goes_on",
        ),
    ),
    Fault(
        19,
        "An archive that is a bomb",
        "What comes out is counted while it comes out; names that leave the archive are refused.",
        (
            "characters/test_charx.py::test_a_zip_bomb_is_refused_by_what_comes_out",
            "characters/test_charx.py::test_all_files_together_have_a_limit",
            "faults/test_uploads.py::test_a_file_that_is_a_bomb_is_refused_and_the_server_goes_on",
        ),
    ),
    Fault(
        20,
        "JSON that is a bomb",
        "Depth, numbers and keys are bounded, and so is the search for faults: 400.",
        (
            "faults/test_names.py::test_no_json_bomb_is_a_server_error",
            "data/test_strict_json.py::test_deep_nesting_is_refused_on_a_small_stack_whatever_the_recursion_limit",
            "characters/test_json_text.py::test_the_deepest_allowed_document_is_read",
            "serve/api/test_chat_completions.py::test_a_large_body_full_of_faults_is_refused_without_looking_at_each",
        ),
    ),
    Fault(
        21,
        "A chat template that is an attack",
        "Templates come with the model only, reach a list of names, and stop when they ask for more than real ones do.",
        (
            "engine/test_template.py::test_a_template_that_asks_for_too_much_is_stopped_by_a_budget",
            "engine/test_template.py::test_a_template_that_uses_what_none_needs_is_refused_before_it_runs",
            "engine/test_template.py::test_a_template_that_refuses_or_breaks_out_is_a_data_error",
            "engine/test_template.py::test_real_templates_are_filled_as_transformers_fills_them",
        ),
    ),
    Fault(
        22,
        "A reply that is markup",
        "Nothing runs, nothing is loaded, nothing covers the page; the browser's own policy is a second wall.",
        (
            "serve/page/test_hostile_output.py::test_hostile_replies_are_shown_as_text",
            "serve/page/test_hostile_output.py::test_the_browsers_policy_is_a_second_wall",
        ),
    ),
    Fault(
        23,
        "A memory that gives orders",
        "It is quoted as what somebody said once; control tokens in it are broken.",
        ("faults/test_injection.py::test_a_stored_line_that_gives_orders_is_quoted_and_opens_no_turn",),
    ),
    Fault(
        24,
        "Words around a limit that nobody may cross",
        "The whole scene is read, however it is written; no setting changes the verdict.",
        (
            "guard/test_frozen.py",
            "guard/test_root.py::test_no_value_of_any_key_changes_a_verdict",
            "guard/test_root.py::test_no_environment_variable_that_is_read_changes_a_verdict",
        ),
    ),
    Fault(
        25,
        "A way around the age gate",
        "The proof is kept by the server, signed, ends by itself and belongs to one account.",
        (
            "serve/door/test_age.py::test_forged_cookies_and_headers_do_not_open_the_gate",
            "serve/door/test_age.py::test_a_row_that_somebody_writes_copies_or_prolongs_is_no_proof",
            "serve/door/test_age.py::test_a_proof_that_is_taken_back_ends_the_reply_that_runs",
            "serve/door/test_age.py::test_an_answer_counts_once_and_for_the_request_it_was_made_for",
        ),
    ),
    Fault(
        26,
        "A model, an adapter or a package that is not what it says",
        "Only safetensors; no code of a repository unless a person has named it; no version with a known hole.",
        (
            "engine/test_hf_trust.py::test_code_of_a_repository_is_refused_and_does_not_run",
            "engine/test_hf_trust.py::test_a_pickle_beside_the_weights_is_refused_and_not_opened",
            "engine/test_hf_trust.py::test_an_adapter_for_another_base_is_refused_with_the_name_of_its_own",
            "faults/test_versions.py::test_no_package_is_older_than_its_known_hole",
        ),
    ),
)
