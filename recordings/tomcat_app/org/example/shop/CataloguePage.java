package org.example.shop;

import jakarta.servlet.http.HttpServletRequest;
import jakarta.servlet.http.HttpServletResponse;
import java.io.IOException;
import java.util.stream.IntStream;

/** Looks for goods: `/items/N`, `/search`, `/categories`, `/export`, `/health`. */
public final class CataloguePage extends Page {
    private static final long serialVersionUID = 1;

    @Override
    protected void doGet(HttpServletRequest request, HttpServletResponse response) throws IOException {
        switch (request.getServletPath()) {
            case "/items" -> item(request, response);
            case "/search" -> search(request, response);
            case "/categories" -> categories(request, response);
            case "/export" -> export(request, response);
            default -> answer(response, 200, "ok");
        }
    }

    private void item(HttpServletRequest request, HttpServletResponse response) throws IOException {
        int item = Integer.parseInt(request.getPathInfo().substring(1));
        if (item > Shop.ITEMS) {
            log.warning("item " + item + " does not exist");
            answer(response, 404, "no such item");
            return;
        }
        String text = Shop.get().cache.get(item);
        if (text == null) {
            log.info("item " + item + " loaded into the cache of " + Shop.get().cache.size());
            text = "item " + item;
            Shop.get().cache.put(item, text);
        } else {
            log.fine("item " + item + " found in the cache");
        }
        answer(response, 200, text);
    }

    private void search(HttpServletRequest request, HttpServletResponse response) throws IOException {
        String word = request.getParameter("q");
        int page = number(request, "page", 1);
        long sum = IntStream.range(page, page + 20).mapToLong(PriceList::of).sum();
        log.info("search for '" + word + "' page " + page + ": " + (word.hashCode() & 31) + " hits");
        answer(response, 200, "from " + sum / 20);
    }

    private void categories(HttpServletRequest request, HttpServletResponse response) throws IOException {
        int depth = number(request, "depth", 3);
        String tree = branch(depth);
        log.info("category tree of depth " + depth + " has " + tree.length() + " characters");
        answer(response, 200, tree);
    }

    private String branch(int depth) {
        return depth == 0 ? "." : "(" + branch(depth - 1) + ")";
    }

    private void export(HttpServletRequest request, HttpServletResponse response) throws IOException {
        String format = request.getParameter("format");
        log.info("export of " + Shop.get().cache.size() + " items requested by " + who(request));
        String text = format.equals("csv") ? "item,text\n" : "[]";
        log.info("export finished in format " + format);
        answer(response, 200, text);
    }
}
