"""Full text in PostgreSQL as FTS5 does it with `porter unicode61 remove_diacritics 2`, so that both find the same.

The dictionary stems as `porter` does and drops no stopword. What separates words is replaced by spaces first; else
PostgreSQL would read addresses, signs and fractions in a text. The functions name their own search path, because
the server calls them in its own housekeeping as well.
"""

# ruff: noqa: S608  (fixed texts)
_SEPARATORS = r"\u0001-\u0021\u0023-\u002f\u003a-\u0040\u005b-\u0060\u007b-\u00bf\u2000-\u206f\u3000-\u303f"

LEXEMES_SCRIPT = rf"""
CREATE TEXT SEARCH DICTIONARY house_stems (TEMPLATE = snowball, LANGUAGE = porter);
CREATE TEXT SEARCH CONFIGURATION house_words (PARSER = "default");
ALTER TEXT SEARCH CONFIGURATION house_words
    ADD MAPPING FOR asciiword, word, numword, int, uint, float, sfloat, version, hword, numhword, asciihword,
        hword_part, hword_numpart, hword_asciipart WITH house_stems;
CREATE FUNCTION house_plain(content TEXT) RETURNS TEXT LANGUAGE sql IMMUTABLE STRICT AS $$
    SELECT regexp_replace(
        regexp_replace(normalize(lower(content), NFKD), '[\u0300-\u036f]', '', 'g'), '[{_SEPARATORS}]+', ' ', 'g')
$$;
CREATE FUNCTION house_lexemes(content TEXT) RETURNS tsvector LANGUAGE sql IMMUTABLE STRICT
    SET search_path FROM CURRENT AS $$
    SELECT to_tsvector('house_words'::regconfig, replace(house_plain(content), '"', ' '))
$$;
CREATE FUNCTION house_query(phrases TEXT) RETURNS tsquery LANGUAGE sql IMMUTABLE STRICT
    SET search_path FROM CURRENT AS $$
    SELECT websearch_to_tsquery('house_words'::regconfig, house_plain(phrases))
$$;
"""
"""Makes `house_lexemes(text)`, what a text is found by, and `house_query(text)` for phrases in double quotes."""
